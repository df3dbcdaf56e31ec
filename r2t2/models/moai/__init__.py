"""MoAI-7B (arXiv 2403.07508) on the contract: `moai:FOLDER?OPTION=VALUE&...` (docs/moai.md)."""
