"""The fusion rules, one a file; a new file is a new rule. What a rule must be: `cloud.fusion.rule`."""
