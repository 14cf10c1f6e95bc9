"""Online side: Feast's Redis layout, reader, materializer, embedded Redis."""
