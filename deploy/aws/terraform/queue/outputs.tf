output "queue_url" {
  description = "For ingest --queue."
  value       = aws_sqs_queue.this.id
}

output "queue_arn" {
  description = "For queue_arn of the module access."
  value       = aws_sqs_queue.this.arn
}

output "dead_letter_queue_url" {
  description = "Where to look for what ingest did not understand."
  value       = aws_sqs_queue.dead.id
}

output "source" {
  description = "For ingest --source."
  value       = "s3://${var.trail_bucket}/${var.trail_prefix}"
}
