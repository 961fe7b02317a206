"""The web page: a client of the HTTP API in a browser, in English and Chinese. Knows no stores, jobs or cards."""
