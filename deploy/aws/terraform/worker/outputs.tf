output "task_role_arn" {
  description = "For reader_arn of the modules access and queue in the bucket's account."
  value       = aws_iam_role.task.arn
}

output "cluster" {
  description = "Where the task runs."
  value       = aws_ecs_cluster.this.name
}

output "security_group" {
  description = "Of the task."
  value       = aws_security_group.task.id
}

output "log_group" {
  description = "Diagnostics and findings."
  value       = aws_cloudwatch_log_group.ingest.name
}

output "state_file_system" {
  description = "Where progress is."
  value       = aws_efs_file_system.state.id
}
