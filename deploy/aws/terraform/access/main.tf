# What the programs may do with a trail's bucket and its queue, as two managed
# policies, and optionally a role with the policy of ingest that another account
# assumes. The same as cloudformation/access.yaml.
#
#   module "access" {
#     source       = "github.com/trailseal/trailseal//deploy/aws/terraform/access"
#     trail_bucket = "my-trail-bucket"
#     queue_arn    = module.queue.queue_arn
#   }

data "aws_partition" "current" {}

locals {
  bucket_arn     = "arn:${data.aws_partition.current.partition}:s3:::${var.trail_bucket}"
  reader_account = var.reader_arn == "" ? "" : split(":", var.reader_arn)[4]
}

data "aws_iam_policy_document" "ingest" {
  # With ListBucket an object that is gone is told from one that is refused.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${var.trail_prefix}AWSLogs/*"]
  }

  # Of every region that the trail logs. The action knows no resources.
  statement {
    sid       = "Keys"
    actions   = ["cloudtrail:ListPublicKeys"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.queue_arn == "" ? [] : [1]

    content {
      sid       = "Queue"
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
      resources = [var.queue_arn]
    }
  }

  dynamic "statement" {
    for_each = var.bucket_key_arn == "" ? [] : [1]

    content {
      sid       = "DecryptObjects"
      actions   = ["kms:Decrypt"]
      resources = [var.bucket_key_arn]
    }
  }

  dynamic "statement" {
    for_each = var.queue_key_arn == "" ? [] : [1]

    content {
      sid       = "DecryptMessages"
      actions   = ["kms:Decrypt"]
      resources = [var.queue_key_arn]
    }
  }
}

data "aws_iam_policy_document" "verifier" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${var.trail_prefix}AWSLogs/*"]
  }

  # verify needs ListPublicKeys alone. None of the three actions knows a
  # resource that would fit all trails.
  statement {
    sid       = "KeysAndTrails"
    actions   = ["cloudtrail:ListPublicKeys", "cloudtrail:DescribeTrails"]
    resources = ["*"]
  }

  statement {
    sid       = "Organization"
    actions   = ["organizations:DescribeOrganization"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.bucket_key_arn == "" ? [] : [1]

    content {
      sid       = "DecryptObjects"
      actions   = ["kms:Decrypt"]
      resources = [var.bucket_key_arn]
    }
  }
}

resource "aws_iam_policy" "ingest" {
  name        = "${var.name}-ingest"
  description = "trailseal ingest reads a trail and its queue"
  policy      = data.aws_iam_policy_document.ingest.json
  tags        = var.tags
}

resource "aws_iam_policy" "verifier" {
  name        = "${var.name}-verifier"
  description = "trailseal verifier reads a trail"
  policy      = data.aws_iam_policy_document.verifier.json
  tags        = var.tags
}

# The account, held to one role: a role that is named as principal must exist,
# and is lost when it is made anew.
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${local.reader_account}:root"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:PrincipalArn"
      values   = [var.reader_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
  }
}

resource "aws_iam_role" "reader" {
  count              = var.reader_arn == "" ? 0 : 1
  name               = "${var.name}-reader"
  description        = "trailseal ingest of another account reads a trail and its queue"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = var.external_id != ""
      error_message = "reader_arn needs external_id."
    }
  }
}

resource "aws_iam_role_policy_attachment" "reader" {
  count      = var.reader_arn == "" ? 0 : 1
  role       = aws_iam_role.reader[0].name
  policy_arn = aws_iam_policy.ingest.arn
}
