"""Wire format: records and tensors as JSON and as safetensors."""
