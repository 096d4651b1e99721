module github.com/trailseal/trailseal

go 1.26.8

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/klauspost/compress v1.20.0
)
