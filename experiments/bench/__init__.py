"""Attn measured against its peers."""
