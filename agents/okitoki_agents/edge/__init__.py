"""The voice edge: what runs in the pods of a VoiceRegion."""
