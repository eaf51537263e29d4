// SPDX-License-Identifier: Apache-2.0
//! Packages whose files must not import each other in a circle.

fn refuse_circles(package: &str) {
    let drawing = vts_imports::draw(package).unwrap();
    assert_ne!(drawing.to_string(), "", "{package} has no imports at all");
    let shown: Vec<String> = drawing.circles().iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{package} has circles of imports:\n{}", shown.join("\n"));
}

#[test]
fn imports_of_this_package_form_no_circle() {
    refuse_circles("vts_imports");
}

#[test]
fn imports_of_the_service_manager_form_no_circle() {
    refuse_circles("vts_servicemanager");
}

#[test]
fn imports_of_init_form_no_circle() {
    refuse_circles("vts_init");
}

#[test]
fn imports_of_the_runner_form_no_circle() {
    refuse_circles("vts_device");
}
