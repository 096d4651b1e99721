# ingest as an ECS service on Fargate, with its progress on EFS and proven events
# in a bucket. The same as cloudformation/worker.yaml.
#
#   module "worker" {
#     source            = "github.com/trailseal/trailseal//deploy/aws/terraform/worker"
#     image             = "registry.example.com/trailseal:1.0.0"
#     vpc_id            = "vpc-..."
#     subnet_ids        = ["subnet-...", "subnet-..."]
#     trail_source      = module.queue.source
#     queue_url         = module.queue.queue_url
#     ingest_policy_arn = module.access.ingest_policy_arn
#     sink_bucket       = "my-events"
#   }
#
# One task and never two: progress is one file that one process holds. It costs
# nothing in safety, since a task that ends loses no event, and the next one goes
# on where it was.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  # aws_region calls it name or id, by the version of the provider.
  region = split(":", aws_cloudwatch_log_group.ingest.arn)[3]

  reader = var.reader_role_arn == "" ? {} : merge(
    { TRAILSEAL_ROLE_ARN = var.reader_role_arn, TRAILSEAL_QUEUE_ROLE_ARN = var.reader_role_arn },
    var.external_id == "" ? {} : { TRAILSEAL_EXTERNAL_ID = var.external_id, TRAILSEAL_QUEUE_EXTERNAL_ID = var.external_id },
  )

  environment = merge(local.reader, {
    AWS_REGION           = local.region
    TRAILSEAL_SOURCE     = var.trail_source
    TRAILSEAL_QUEUE      = var.queue_url
    TRAILSEAL_SINK       = "s3://${var.sink_bucket}/${var.sink_prefix}"
    TRAILSEAL_STATE      = "file:/var/lib/ingest/trailseal.state"
    TRAILSEAL_SINCE      = var.since
    TRAILSEAL_DRAIN      = "90s" # less than stopTimeout
    TRAILSEAL_LOG_FORMAT = "json"
  })
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.tags
}

# Diagnostics and findings. Keep it: findings are nowhere else.
resource "aws_cloudwatch_log_group" "ingest" {
  name              = "/trailseal/${var.name}"
  retention_in_days = var.log_retention_days
  skip_destroy      = true
  tags              = var.tags
}

# What ECS itself needs to start the task.
data "aws_iam_policy_document" "execution_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = data.aws_iam_policy_document.execution_trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "task_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:ecs:${local.region}:${data.aws_caller_identity.current.account_id}:*"]
    }
  }
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-task" # known before it is made, for the module access in another account
  assume_role_policy = data.aws_iam_policy_document.task_trust.json
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = (var.ingest_policy_arn == "") != (var.reader_role_arn == "")
      error_message = "Give ingest_policy_arn or reader_role_arn."
    }
  }
}

resource "aws_iam_role_policy_attachment" "task" {
  count      = var.ingest_policy_arn == "" ? 0 : 1
  role       = aws_iam_role.task.name
  policy_arn = var.ingest_policy_arn
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "Put"
    actions   = ["s3:PutObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${var.sink_bucket}/${var.sink_prefix}/*"]
  }

  dynamic "statement" {
    for_each = var.sink_key_arn == "" ? [] : [1]

    content {
      sid       = "Encrypt"
      actions   = ["kms:GenerateDataKey"]
      resources = [var.sink_key_arn]
    }
  }

  dynamic "statement" {
    for_each = var.reader_role_arn == "" ? [] : [1]

    content {
      sid       = "Assume"
      actions   = ["sts:AssumeRole"]
      resources = [var.reader_role_arn]
    }
  }
}

resource "aws_iam_role_policy" "task" {
  name   = "sink"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_security_group" "task" {
  name_prefix = "${var.name}-"
  description = "trailseal ingest"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  count                        = var.metrics_clients == "" ? 0 : 1
  security_group_id            = aws_security_group.task.id
  description                  = "metrics"
  ip_protocol                  = "tcp"
  from_port                    = 9090
  to_port                      = 9090
  referenced_security_group_id = var.metrics_clients
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.task.id
  description       = "AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "state" {
  security_group_id            = aws_security_group.task.id
  description                  = "the file system"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.state.id
}

resource "aws_security_group" "state" {
  name_prefix = "${var.name}-state-"
  description = "trailseal ingest, its progress"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  description                  = "ingest"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.task.id
}

# Progress outlives the task here. An EBS volume of an ECS task does not: each
# task gets a new one.
resource "aws_efs_file_system" "state" {
  encrypted       = true
  throughput_mode = "elastic"
  tags            = merge(var.tags, { Name = "${var.name}-state" })
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "Ingest"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.state.arn]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.task.arn]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["true"]
    }
  }
}

resource "aws_efs_file_system_policy" "state" {
  file_system_id = aws_efs_file_system.state.id
  policy         = data.aws_iam_policy_document.state.json
}

resource "aws_efs_access_point" "state" {
  file_system_id = aws_efs_file_system.state.id
  tags           = var.tags

  posix_user {
    uid = 65532
    gid = 65532
  }

  root_directory {
    path = "/ingest"

    creation_info {
      owner_uid   = 65532
      owner_gid   = 65532
      permissions = "0700"
    }
  }
}

resource "aws_efs_mount_target" "state" {
  count           = length(var.subnet_ids)
  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.state.id]
}

resource "aws_ecs_task_definition" "ingest" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  volume {
    name = "state"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.state.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.state.id
        iam             = "ENABLED"
      }
    }
  }

  container_definitions = jsonencode([{
    name                   = "ingest"
    image                  = var.image
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    environment            = [for name, value in local.environment : { name = name, value = value }]
    mountPoints            = [{ sourceVolume = "state", containerPath = "/var/lib/ingest", readOnly = false }]
    portMappings           = [{ containerPort = 9090, protocol = "tcp" }]
    stopTimeout            = 110 # Fargate grants at most 120

    healthCheck = {
      command     = ["CMD", "/usr/local/bin/ingest", "health"]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.ingest.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "ingest"
      }
    }
  }])
}

resource "aws_ecs_service" "ingest" {
  name            = var.name
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.ingest.arn
  launch_type     = "FARGATE"
  desired_count   = 1
  tags            = var.tags

  # The old task ends before the new one starts.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  # A service that is rebalanced between zones would start a second task first.
  availability_zone_rebalancing = "DISABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    assign_public_ip = var.assign_public_ip
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.task.id]
  }

  depends_on = [
    aws_efs_mount_target.state,
    aws_efs_file_system_policy.state,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.state,
    aws_vpc_security_group_ingress_rule.state,
    aws_iam_role_policy.task,
    aws_iam_role_policy_attachment.task,
    aws_iam_role_policy_attachment.execution,
  ]
}
