"""MoVA on the contract: `mova:FOLDER?OPTION=VALUE&...` (docs/mova.md)."""
