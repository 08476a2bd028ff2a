"""The shipped YAML configurations; `picochat fit --config NAME.yaml` finds them by bare name."""
