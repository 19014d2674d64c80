"""Programs on Pipecat's API alone, as strangers write them."""
