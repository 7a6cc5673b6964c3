"""The drop folders: watched, scanned, taken from; requests, guidance and controls are acted on, or set aside."""
