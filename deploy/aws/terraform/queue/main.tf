# The queue that announces what is new in a trail's bucket, with its dead-letter
# queue, and the notifications that fill it. It belongs into the account and
# region of the bucket. The same as cloudformation/queue.yaml, but that it makes
# no bucket and can set the notifications of one that is there.
#
#   module "queue" {
#     source       = "github.com/trailseal/trailseal//deploy/aws/terraform/queue"
#     trail_bucket = "my-trail-bucket"
#   }

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  bucket_arn     = "arn:${data.aws_partition.current.partition}:s3:::${var.trail_bucket}"
  by_s3          = var.delivery == "S3"
  by_eventbridge = var.delivery == "EventBridge"
  kms_key        = var.queue_key_arn == "" ? null : var.queue_key_arn
  sqs_key        = var.queue_key_arn == "" ? true : null
  reader_account = var.reader_arn == "" ? "" : split(":", var.reader_arn)[4]
}

resource "aws_sqs_queue" "this" {
  name                       = var.name
  visibility_timeout_seconds = 120    # ingest extends it for what is in work
  message_retention_seconds  = 345600 # 4 days; the bucket is listed anyway, so an expired message loses nothing
  receive_wait_time_seconds  = 20
  kms_master_key_id          = local.kms_key
  sqs_managed_sse_enabled    = local.sqs_key
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receives
  })
}

# What ingest does not understand or refuses. Whoever can write to the bucket or
# the queue can fill it: look at it.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead"
  message_retention_seconds = 1209600 # 14 days, counted from the first sending
  kms_master_key_id         = local.kms_key
  sqs_managed_sse_enabled   = local.sqs_key
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "OnlyWithTLS"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.this.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # A bucket's ARN names no account: without SourceAccount the bucket could be
  # deleted and made anew by anybody.
  dynamic "statement" {
    for_each = local.by_s3 ? [1] : []

    content {
      sid       = "S3"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "Service"
        identifiers = ["s3.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [local.bucket_arn]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.current.account_id]
      }
    }
  }

  dynamic "statement" {
    for_each = local.by_eventbridge ? [1] : []

    content {
      sid       = "EventBridge"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn" # which name the account
        values   = concat(aws_cloudwatch_event_rule.digest[*].arn, aws_cloudwatch_event_rule.deletion[*].arn)
      }
    }
  }

  # The account, held to one role: a role that is named as principal must exist,
  # and is lost when it is made anew.
  dynamic "statement" {
    for_each = var.reader_arn == "" ? [] : [1]

    content {
      sid       = "Reader"
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "AWS"
        identifiers = ["arn:${data.aws_partition.current.partition}:iam::${local.reader_account}:root"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:PrincipalArn"
        values   = [var.reader_arn]
      }
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.id
  policy    = data.aws_iam_policy_document.queue.json
}

# Digests bring their log files, so nothing else need be announced.
resource "aws_cloudwatch_event_rule" "digest" {
  count       = local.by_eventbridge ? 1 : 0
  name        = "${var.name}-digests"
  description = "New digests in the trail's bucket, for ingest."
  tags        = var.tags

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.trail_bucket] }
      object = { key = [{ wildcard = "${var.trail_prefix}AWSLogs/*/CloudTrail-Digest/*" }] }
    }
  })
}

# Who deletes below AWSLogs/ is a finding at once; what a lifecycle rule expires
# is not.
resource "aws_cloudwatch_event_rule" "deletion" {
  count       = local.by_eventbridge ? 1 : 0
  name        = "${var.name}-deletions"
  description = "Deletions in the trail's bucket, for ingest."
  tags        = var.tags

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Deleted"]
    detail = {
      bucket = { name = [var.trail_bucket] }
      object = { key = [{ prefix = "${var.trail_prefix}AWSLogs/" }] }
      reason = [{ anything-but = "Lifecycle Expiration" }]
    }
  })
}

resource "aws_cloudwatch_event_target" "digest" {
  count     = local.by_eventbridge ? 1 : 0
  rule      = aws_cloudwatch_event_rule.digest[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.this.arn
}

resource "aws_cloudwatch_event_target" "deletion" {
  count     = local.by_eventbridge ? 1 : 0
  rule      = aws_cloudwatch_event_rule.deletion[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.this.arn
}

resource "aws_s3_bucket_notification" "trail" {
  count       = var.set_notifications ? 1 : 0
  bucket      = var.trail_bucket
  eventbridge = local.by_eventbridge
  depends_on  = [aws_sqs_queue_policy.this] # S3 tries to send before it takes the configuration

  dynamic "queue" {
    for_each = local.by_s3 ? [1] : []

    content {
      id            = "trailseal"
      queue_arn     = aws_sqs_queue.this.arn
      events        = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
      filter_prefix = "${var.trail_prefix}AWSLogs/"
    }
  }
}
