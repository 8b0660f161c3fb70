"""CloudWatch Logs through boto3."""

import time

import boto3
from check import refused, same

logs = boto3.client("logs")
name = "/aws/lambda/worker"
logs.create_log_group(logGroupName=name, tags={"rmx:stack": "one"})
refused("ResourceAlreadyExistsException", logs.create_log_group, logGroupName=name)
logs.put_retention_policy(logGroupName=name, retentionInDays=14)
refused("InvalidParameterException", logs.put_retention_policy, logGroupName=name, retentionInDays=13)
refused("ResourceNotFoundException", logs.put_retention_policy, logGroupName="none", retentionInDays=14)
group = logs.describe_log_groups(logGroupNamePrefix="/aws/")["logGroups"][0]
same((group["logGroupName"], group["retentionInDays"], group["metricFilterCount"]), (name, 14, 0))
same(group["arn"], group["logGroupArn"] + ":*")
same(logs.describe_log_groups(logGroupNamePrefix="/none")["logGroups"], [])
arn = group["logGroupArn"]
logs.tag_resource(resourceArn=arn, tags={"a": "b"})
logs.untag_resource(resourceArn=arn, tagKeys=["rmx:stack"])
same(logs.list_tags_for_resource(resourceArn=arn)["tags"], {"a": "b"})

stream = "2026/11/23/[$LATEST]0123"
logs.create_log_stream(logGroupName=name, logStreamName=stream)
refused("ResourceAlreadyExistsException", logs.create_log_stream, logGroupName=name, logStreamName=stream)
now = int(time.time() * 1000)
texts = ["ERROR one", "WARN two", "ERROR three & <four>", "fine \u00e9\U0001f525"]
events = [{"timestamp": now + index, "message": text} for index, text in enumerate(texts)]
put = dict(logGroupName=name, logStreamName=stream)
assert logs.put_log_events(**put, logEvents=events)["nextSequenceToken"]
refused("InvalidParameterException", logs.put_log_events, **put, logEvents=events[::-1])
refused("ResourceNotFoundException", logs.put_log_events, **{**put, "logStreamName": "none"}, logEvents=events)


def found(**arguments):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name, **arguments)
    return [event["message"] for page in pages for event in page["events"]]


same(found(), texts)
same(found(PaginationConfig={"PageSize": 1}), texts, "one event a page")
same(found(filterPattern="ERROR"), [texts[0], texts[2]])
same(found(filterPattern="ERROR three"), [texts[2]])
same(found(filterPattern='"ERROR three"'), [texts[2]])
same(found(filterPattern="?WARN ?one"), texts[:2])
same(found(filterPattern="-ERROR"), [texts[1], texts[3]])
same(found(startTime=now + 1, endTime=now + 2), texts[1:3])
same(found(logStreamNames=[stream]), texts)
same(found(logStreamNamePrefix="2027"), [])
refused("InvalidParameterException", logs.filter_log_events, logGroupName=name, filterPattern="{ $.a = 1 }")
refused("ResourceNotFoundException", logs.filter_log_events, logGroupName="none")

page = logs.get_log_events(**put, startFromHead=True, limit=3)
same([event["message"] for event in page["events"]], texts[:3])
page = logs.get_log_events(**put, nextToken=page["nextForwardToken"], startFromHead=True)
same([event["message"] for event in page["events"]], texts[3:])
end = logs.get_log_events(**put, nextToken=page["nextForwardToken"], startFromHead=True)
same((end["events"], end["nextForwardToken"]), ([], page["nextForwardToken"]))

described = logs.describe_log_streams(logGroupName=name, orderBy="LastEventTime", descending=True)["logStreams"][0]
same((described["firstEventTimestamp"], described["lastEventTimestamp"]), (now, now + 3))
refused("NotImplemented", logs.describe_metric_filters, logGroupName=name)
logs.delete_log_stream(logGroupName=name, logStreamName=stream)
refused("ResourceNotFoundException", logs.get_log_events, **put)
logs.delete_log_group(logGroupName=name)
refused("ResourceNotFoundException", logs.delete_log_group, logGroupName=name)
