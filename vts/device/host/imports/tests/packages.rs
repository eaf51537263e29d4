// SPDX-License-Identifier: Apache-2.0
//! No file of this workspace imports itself by way of others.

#[test]
fn imports_form_no_circle() {
    let mut circles = Vec::new();
    for (package, drawing) in vts_imports::draw_all().unwrap() {
        circles.extend(drawing.circles().iter().map(|circle| format!("{package}: {circle}")));
    }
    assert!(circles.is_empty(), "imports form circles:\n{}", circles.join("\n"));
}

#[test]
fn imports_of_large_packages_are_found() {
    for package in ["dmabuf_engine", "vts_device", "vts_init"] {
        let arrows = vts_imports::draw(package).unwrap().to_string().lines().count();
        assert!(arrows > 50, "{package}: {arrows}");
    }
}
