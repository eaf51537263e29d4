// SPDX-License-Identifier: Apache-2.0
//! What `getUsage()` answers.

use dmabuf_scheduler::ledger::{Amounts, Resource};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ClientResource::ClientResource, ClientUsage::ClientUsage, ResourceUsage::ResourceUsage,
};

use crate::clients::ClientRecord;

/// The resources of the contract.
const RESOURCES: [(ClientResource, Resource); Resource::COUNTED.len()] = [
    (ClientResource::IN_FLIGHT_BYTES, Resource::InFlightBytes),
    (ClientResource::QUEUED_REQUESTS, Resource::QueuedRequests),
    (ClientResource::OPEN_TASKS, Resource::OpenTasks),
    (ClientResource::BLOCKING_CALLS, Resource::BlockingCalls),
];

/// What a client holds, may hold and has done.
pub(crate) fn client_usage(
    held: Amounts,
    limits: Amounts,
    record: Option<&ClientRecord>,
) -> ClientUsage {
    let resources = RESOURCES.map(|(wire, resource)| ResourceUsage {
        resource: wire,
        held: amount(held.of(resource)),
        limit: amount(limits.of(resource)),
    });
    let moved = |direct| {
        let of_kind = record.iter().flat_map(|record| record.moved_bytes);
        let of_kind = of_kind.filter(|(path, _)| path.is_direct() == direct);
        amount(of_kind.map(|(_, bytes)| bytes).fold(0, u64::saturating_add))
    };
    ClientUsage {
        resources: resources.into(),
        completedRequests: amount(record.map_or(0, |record| record.completed)),
        failedCalls: amount(record.map_or(0, |record| record.failed)),
        directBytes: moved(true),
        copiedBytes: moved(false),
    }
}

fn amount(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counted_resource_is_told() {
        assert_eq!(RESOURCES.map(|(_, resource)| resource), Resource::COUNTED);
        let held = Amounts::NONE.with(Resource::OpenTasks, 3);
        let limits = Amounts::UNLIMITED.with(Resource::OpenTasks, 128);
        let usage = client_usage(held, limits, None);
        assert_eq!(usage.resources.len(), RESOURCES.len());
        let of = |wire| usage.resources.iter().find(|usage| usage.resource == wire).unwrap();
        let tasks = of(ClientResource::OPEN_TASKS);
        assert_eq!((tasks.held, tasks.limit), (3, 128));
        assert_eq!(of(ClientResource::IN_FLIGHT_BYTES).limit, i64::MAX);
    }
}
