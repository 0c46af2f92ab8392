"""The VoiceRegion: where calls land. Owns the edge pair, its addresses and its configuration."""
