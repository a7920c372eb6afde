"""What tests share: checkpoints, hostile files, a hub, a browser, references."""
