output "ingest_policy_arn" {
  description = "For ingest_policy_arn of the module worker, or the role of a pod or an instance."
  value       = aws_iam_policy.ingest.arn
}

output "verifier_policy_arn" {
  description = "For whoever runs verifier."
  value       = aws_iam_policy.verifier.arn
}

output "reader_role_arn" {
  description = "For reader_role_arn of the module worker in the other account (ingest --role-arn and --queue-role-arn); null without reader_arn."
  value       = one(aws_iam_role.reader[*].arn)
}
