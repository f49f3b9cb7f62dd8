package import RoostModel
package import RoostScheduler

extension PlacementRequest {
    /// What a VM that there is needs of a node. Its node is left out: it is there. Elsewhere it would
    /// begin from its image again.
    package init(_ vm: VM) {
        var rules = vm.spec.placement ?? PlacementRules()
        if !vm.spec.image.isEmpty {
            let image = Artifact(.image, vm.spec.image)
            let weight = HoldingsIndex.imageWeight
            rules.localities.append(LocalityRule(image, .preferred(weight: weight)))
        }
        self.init(
            cores: vm.spec.cores,
            memoryMiB: vm.spec.memoryMiB,
            labels: vm.labels,
            rules: rules
        )
    }
}
