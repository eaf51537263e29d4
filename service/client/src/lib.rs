//! What a Rust vendor process links to use the DMA-BUF loader.
