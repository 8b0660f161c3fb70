"""What the scripts share."""

import botocore.exceptions


def refused(code, call, **arguments):
    """Requires that `call` is refused with `code`; gives the answer back."""
    try:
        answer = call(**arguments)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{found} instead of {code}: {error}"
        return error.response
    raise AssertionError(f"accepted instead of {code}: {answer}")


def same(found, wanted, what=""):
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


TRUST = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
  "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"""
