variable "name" {
  description = "Of the queue; its dead-letter queue has -dead behind it."
  type        = string
  default     = "trailseal"
}

variable "trail_bucket" {
  description = "Name of the bucket that CloudTrail delivers to."
  type        = string
}

variable "trail_prefix" {
  description = "What stands before AWSLogs/ in the bucket's keys, with the slash at its end; empty for most trails."
  type        = string
  default     = ""

  validation {
    condition     = var.trail_prefix == "" || can(regex("^[^/].*/$", var.trail_prefix))
    error_message = "A prefix ends with a slash and does not begin with one."
  }
}

variable "delivery" {
  description = "S3 announces every object by the bucket's own notifications. EventBridge announces digests and deletions alone, and the bucket may have other notifications beside it."
  type        = string
  default     = "S3"

  validation {
    condition     = contains(["S3", "EventBridge"], var.delivery)
    error_message = "S3 or EventBridge."
  }
}

variable "set_notifications" {
  description = "Whether to set the bucket's notifications. They replace all that the bucket has: false where something else owns them."
  type        = bool
  default     = true
}

variable "queue_key_arn" {
  description = "KMS key of the queues; without one SQS encrypts with its own. Its policy must let s3.amazonaws.com (or events.amazonaws.com) use kms:GenerateDataKey and kms:Decrypt, or nothing arrives."
  type        = string
  default     = ""
}

variable "reader_arn" {
  description = "Role in another account that may receive from the queue by its own policies. Empty where ingest assumes the reader role of the module access. It need not exist yet."
  type        = string
  default     = ""
}

variable "max_receives" {
  description = "Deliveries after which a message goes to the dead-letter queue. Each restart of ingest uses up one of what was in work; a message that nobody understands uses up one in each visibility timeout."
  type        = number
  default     = 10
}

variable "tags" {
  type    = map(string)
  default = {}
}
