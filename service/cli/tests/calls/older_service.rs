// SPDX-License-Identifier: Apache-2.0
//! The tool with a service that knows only the blocking calls.

use crate::recorder::{Recorded, Starts};

#[test]
fn an_older_service_loads_and_saves_all_the_same() {
    let recorded = Recorded::start(Starts::Unknown);
    let (source, target) = (recorded.file(10_000), recorded.directory.path().join("target"));
    std::fs::write(&source, [7; 10_000]).unwrap();
    for verbose in [false, true] {
        let mut tool = recorded.tool();
        tool.args(verbose.then_some("-v")).arg("save").arg(&source).arg(&target);
        let output = tool.args(["--heap", "memfd"]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert_eq!(log.contains("older than tasks"), verbose, "{log}");
        assert_eq!(std::fs::read(&target).unwrap(), [7; 10_000]);
        let calls = recorded.calls();
        let begins = |call: &str| calls.iter().filter(|one| one.starts_with(call)).count();
        assert_eq!(["startLoad ", "load ", "startSave ", "save "].map(begins), [1; 4]);
    }
}
