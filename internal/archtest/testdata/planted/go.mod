module example.com/planted

go 1.26

require (
	github.com/aws/aws-sdk-go-v2 v0.0.0
	github.com/prometheus/client_golang v0.0.0
	modernc.org/sqlite v0.0.0
)

replace (
	github.com/aws/aws-sdk-go-v2 => ./_fake/aws
	github.com/prometheus/client_golang => ./_fake/prometheus
	modernc.org/sqlite => ./_fake/sqlite
)
