"""IAM and STS through boto3."""

import boto3
from check import TRUST, refused, same

iam = boto3.client("iam")
sts = boto3.client("sts")

caller = sts.get_caller_identity()
same(caller["Arn"], f"arn:aws:iam::{caller['Account']}:user/local")
same(iam.get_user()["User"]["UserId"], caller["UserId"])
refused("AccessDenied", sts.assume_role, RoleArn=caller["Arn"], RoleSessionName="session")
refused("NotImplemented", sts.get_session_token)

# Whoever assumes a role may do what its policies allow.
iam.create_role(RoleName="ci", AssumeRolePolicyDocument=TRUST.replace("Service", "AWS").replace("lambda.amazonaws.com", caller["Account"]))
reading = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}}'
iam.put_role_policy(RoleName="ci", PolicyName="reading", PolicyDocument=reading)
session = sts.assume_role(RoleArn=f"arn:aws:iam::{caller['Account']}:role/ci", RoleSessionName="session")["Credentials"]
ci = boto3.Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
same(ci.client("sts").get_caller_identity()["Arn"], f"arn:aws:sts::{caller['Account']}:assumed-role/ci/session")
same(ci.client("iam").get_role(RoleName="ci")["Role"]["RoleName"], "ci")
refused("AccessDenied", ci.client("iam").delete_role, RoleName="ci")
refused("AccessDenied", ci.client("s3").list_buckets)
refused("AccessDeniedException", ci.client("lambda").list_functions)
iam.delete_role_policy(RoleName="ci", PolicyName="reading")
iam.delete_role(RoleName="ci")

same(iam.list_roles()["Roles"], [])
role = iam.create_role(
    RoleName="worker",
    AssumeRolePolicyDocument=TRUST,
    Description="renders <frames> & sound",
    Tags=[{"Key": "rmx:stack", "Value": "one"}],
)["Role"]
same(role["Arn"], f"arn:aws:iam::{caller['Account']}:role/worker")
same(role["AssumeRolePolicyDocument"]["Statement"][0]["Action"], "sts:AssumeRole", "decoded by boto3")
refused("EntityAlreadyExists", iam.create_role, RoleName="worker", AssumeRolePolicyDocument=TRUST)
refused("MalformedPolicyDocument", iam.create_role, RoleName="other", AssumeRolePolicyDocument='{"a":')
refused("MalformedPolicyDocument", iam.create_role, RoleName="other", AssumeRolePolicyDocument="{}")
refused("ValidationError", iam.create_role, RoleName="a b", AssumeRolePolicyDocument=TRUST)
iam.get_waiter("role_exists").wait(RoleName="worker")
read = iam.get_role(RoleName="worker")["Role"]
same(read["Description"], "renders <frames> & sound")
same(read["CreateDate"], role["CreateDate"])
same(refused("NoSuchEntity", iam.get_role, RoleName="none")["ResponseMetadata"]["HTTPStatusCode"], 404)

iam.update_role(RoleName="worker", Description="new", MaxSessionDuration=7200)
iam.update_assume_role_policy(RoleName="worker", PolicyDocument=TRUST.replace("lambda", "ec2"))
read = iam.get_role(RoleName="worker")["Role"]
same((read["Description"], read["MaxSessionDuration"]), ("new", 7200))
same(read["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"], "ec2.amazonaws.com")

policy = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
iam.put_role_policy(RoleName="worker", PolicyName="inline", PolicyDocument=policy)
refused("MalformedPolicyDocument", iam.put_role_policy, RoleName="worker", PolicyName="x", PolicyDocument="no")
same(iam.get_role_policy(RoleName="worker", PolicyName="inline")["PolicyDocument"]["Statement"]["Resource"], "*")
same(iam.list_role_policies(RoleName="worker")["PolicyNames"], ["inline"])
refused("NoSuchEntity", iam.get_role_policy, RoleName="worker", PolicyName="none")



def decisions(source, actions, resources):
    results = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=actions, ResourceArns=resources)
    return {row["EvalActionName"]: row["EvalDecision"] for row in results["EvaluationResults"]}


actions = ["s3:GetObject", "lambda:InvokeFunction"]
same(decisions(role["Arn"], actions, ["arn:aws:s3:::b/*"]), dict(zip(actions, ["allowed", "implicitDeny"])))
same(decisions(caller["Arn"], actions, ["*"]), dict.fromkeys(actions, "allowed"))
denied = iam.simulate_custom_policy(PolicyInputList=[policy, policy.replace("Allow", "Deny")], ActionNames=["s3:GetObject"])
same(denied["EvaluationResults"][0]["EvalDecision"], "explicitDeny")
refused("NoSuchEntity", iam.simulate_principal_policy, PolicySourceArn=role["Arn"] + "2", ActionNames=actions)

managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
iam.attach_role_policy(RoleName="worker", PolicyArn=managed)
refused("NoSuchEntity", iam.attach_role_policy, RoleName="worker", PolicyArn="arn:aws:iam::aws:policy/NoSuchPolicy")
attached = iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"]
same(attached, [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": managed}])
same(refused("DeleteConflict", iam.delete_role, RoleName="worker")["ResponseMetadata"]["HTTPStatusCode"], 409)

iam.tag_role(RoleName="worker", Tags=[{"Key": "a", "Value": ""}])
iam.untag_role(RoleName="worker", TagKeys=["rmx:stack"])
same(iam.list_role_tags(RoleName="worker")["Tags"], [{"Key": "a", "Value": ""}])
same(iam.list_instance_profiles_for_role(RoleName="worker")["InstanceProfiles"], [])

iam.detach_role_policy(RoleName="worker", PolicyArn=managed)
refused("NoSuchEntity", iam.detach_role_policy, RoleName="worker", PolicyArn=managed)
iam.delete_role_policy(RoleName="worker", PolicyName="inline")
iam.delete_role(RoleName="worker")
refused("NoSuchEntity", iam.delete_role, RoleName="worker")

for name in ["c", "a", "b"]:
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 2})
same([[role["RoleName"] for role in page["Roles"]] for page in pages], [["a", "b"], ["c"]])
