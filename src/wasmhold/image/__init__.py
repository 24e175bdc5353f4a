"""Container images, and Wasm in their company: pulled with caches, unpacked, packed, exported."""
