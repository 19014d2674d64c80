"""Stand-ins for Deepgram, OpenAI and Cartesia that speak their protocols on real local sockets."""
