variable "name" {
  description = "What the names of the policies and the role begin with."
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
}

variable "bucket_key_arn" {
  description = "KMS key of the bucket's objects, where it has one."
  type        = string
  default     = ""
}

variable "queue_arn" {
  description = "The queue of the module queue. Without one ingest looks into the bucket every minute."
  type        = string
  default     = ""
}

variable "queue_key_arn" {
  description = "KMS key of the queue, where it has one."
  type        = string
  default     = ""
}

variable "reader_arn" {
  description = "Role in another account that may assume the reader role: the task role of the module worker there. It need not exist yet."
  type        = string
  default     = ""
}

variable "external_id" {
  description = "What reader_arn must give as external id (ingest --external-id and --queue-external-id): any text that no other deployment uses. It is no secret."
  type        = string
  default     = ""
}

variable "tags" {
  type    = map(string)
  default = {}
}
