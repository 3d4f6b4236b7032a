"""The routes of the Voyant orchestrator: its clients work with this server as they are."""
