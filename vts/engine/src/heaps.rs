// SPDX-License-Identifier: Apache-2.0
//! Tests of which heaps serve requests that name none, on a device with a heap of contiguous
//! memory.

use anyhow::{ensure, Context as _, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{ClientId, Engine, EngineConfig, HeapKind, PoolConfig};
use libtest_mimic::Trial;
use vts_support::files::Files;
use vts_support::importer::Importer;
use vts_support::outcome::{skip, trial};

use crate::load::{allocate, engine, load, made, new_buffer, WHOLE};

const CLIENT: ClientId = ClientId(1000);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("heaps", "others_serve_by_name_only", others_serve_by_name_only),
        trial("heaps", "a_listed_heap_serves_any_request", a_listed_heap_serves_any_request),
        trial("heaps", "importers_see_what_others_hold", importers_see_what_others_hold),
    ]
}

/// The heaps that serve no request without a name.
fn others(engine: &Engine) -> Result<Vec<String>> {
    let others = engine.heaps().iter().filter(|heap| !heap.serves_any);
    let names: Vec<String> = others.map(|heap| heap.name.to_string()).collect();
    if names.is_empty() {
        return Err(skip("the kernel has no heap but the system heap"));
    }
    Ok(names)
}

fn others_serve_by_name_only() -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let others = others(&engine)?;
    for heap in engine.heaps().iter().filter(|heap| heap.serves_any) {
        let name = &heap.name;
        ensure!(**name == *"system" || heap.kind == HeapKind::Udmabuf, "{name} serves any request");
    }
    let files = Files::new()?;
    let file = files.patterned("f", 1, 3 << 20)?.direct()?;
    let any = made(load(&engine, CLIENT, new_buffer("", 0), Policy::AUTO, &file, &[WHOLE])?)?;
    ensure!(!others.contains(&any.heap), "loaded into {}", any.heap);
    let any = allocate(&engine, CLIENT, &new_buffer("", 4096))?;
    ensure!(!others.contains(&any.heap), "allocated from {}", any.heap);
    for name in others {
        let named = allocate(&engine, CLIENT, &new_buffer(&name, 4096))?;
        ensure!(named.heap == name, "allocated from {}", named.heap);
    }
    Ok(())
}

fn a_listed_heap_serves_any_request() -> Result<()> {
    let other = others(&engine(PoolConfig::OFF))?.remove(0);
    let mut config = EngineConfig::new(false, PoolConfig::OFF);
    config.heaps.any_heap = vec!["missing".to_owned(), other.clone()];
    let engine = Engine::new(config);
    ensure!(*engine.heaps()[0].name == *other, "{:?}", engine.heaps());
    let files = Files::new()?;
    let file = files.patterned("f", 2, 1 << 20)?.direct()?;
    let loaded = made(load(&engine, CLIENT, new_buffer("", 0), Policy::AUTO, &file, &[WHOLE])?)?;
    let allocated = allocate(&engine, CLIENT, &new_buffer("", 4096))?;
    ensure!(loaded.heap == other && allocated.heap == other, "{loaded:?} {allocated:?}");
    Ok(())
}

fn importers_see_what_others_hold() -> Result<()> {
    let importer = Importer::open()?;
    let engine = engine(PoolConfig::OFF);
    let files = Files::new()?;
    let size_bytes = (3 << 20) + 77;
    let file = files.patterned("f", 3, size_bytes as u64)?;
    for name in others(&engine)? {
        let new = new_buffer(&name, 0);
        let loaded = load(&engine, CLIENT, new, Policy::AUTO, &file.direct()?, &[WHOLE])?;
        let buffer = made(loaded)?;
        let mut expected = file.expected(0, size_bytes);
        expected.resize(usize::try_from(buffer.size_bytes)?, 0);
        importer.expect(&buffer.fd, &expected).with_context(|| name)?;
    }
    Ok(())
}
