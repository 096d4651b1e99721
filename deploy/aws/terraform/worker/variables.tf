variable "name" {
  description = "Of the service. The task role is called this with -task behind it."
  type        = string
  default     = "trailseal"
}

variable "image" {
  description = "The image of this repository's Dockerfile, by digest or version."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  description = "Subnets, each in a zone of its own, that reach S3, SQS, CloudTrail, STS and the image, by NAT or VPC endpoints."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "true for subnets that reach AWS by an internet gateway alone. Nothing is let in either way."
  type        = bool
  default     = false
}

variable "trail_source" {
  description = "ingest --source, the output source of the module queue."
  type        = string
}

variable "queue_url" {
  description = "ingest --queue, the output queue_url of the module queue."
  type        = string
}

variable "ingest_policy_arn" {
  description = "The output of the module access in this account. Empty where reader_role_arn is given."
  type        = string
  default     = ""
}

variable "reader_role_arn" {
  description = "The output of the module access in the bucket's account."
  type        = string
  default     = ""
}

variable "external_id" {
  description = "The external id that goes with reader_role_arn."
  type        = string
  default     = ""
}

variable "sink_bucket" {
  description = "Where proven events go. It must not be the trail's bucket."
  type        = string
}

variable "sink_prefix" {
  type    = string
  default = "proven"
}

variable "sink_key_arn" {
  description = "KMS key of the sink's bucket, where it has one."
  type        = string
  default     = ""
}

variable "since" {
  description = "Where to begin in a chain never seen."
  type        = string
  default     = "24h"
}

variable "cpu" {
  type    = number
  default = 512
}

variable "memory" {
  description = "Of the task, in MiB; log files in flight hold at most 512 MiB of it."
  type        = number
  default     = 1024
}

variable "metrics_clients" {
  description = "Security group that may read port 9090, of Prometheus; empty for none."
  type        = string
  default     = ""
}

variable "log_retention_days" {
  type    = number
  default = 90
}

variable "tags" {
  type    = map(string)
  default = {}
}
