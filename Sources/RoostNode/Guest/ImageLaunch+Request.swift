package import RoostHost
package import RoostLink
package import RoostModel
import Synchronization

extension ImageLaunch {
    /// The request with the image's settings where it has none of its own.
    ///
    /// As docker has it: variables of the request stand over those of the image, and a command
    /// replaces the image's, but not its entrypoint.
    /// - Throws: ``Reason/invalidFields`` when there is nothing to run.
    package func applied(to request: ExecRequest) throws(Fault) -> ExecRequest {
        var request = request
        request.environment = environment + request.environment
        if request.workingDirectory.isEmpty { request.workingDirectory = workingDirectory }
        if request.user.isEmpty { request.user = user }
        guard request.isImageCommand else { return request }
        request.arguments = entrypoint + (request.arguments.isEmpty ? command : request.arguments)
        if request.arguments.isEmpty { request.arguments = request.fallback }
        guard !request.arguments.isEmpty else {
            throw .invalid("start.arguments", "is empty, and the image has no command of its own")
        }
        return request
    }
}

/// The launch settings of images that were asked for, so that a command need not wait for a disk.
/// An image never changes; at most 256 are remembered.
final class LaunchMemory: Sendable {
    private let known = Mutex<[String: ImageLaunch]>([:])

    /// The settings of the image with that digest.
    func launch(
        of image: String,
        in catalogue: any Catalogue
    ) async throws(Fault) -> ImageLaunch {
        if let launch = known.withLock({ $0[image] }) { return launch }
        let launch = try await catalogue.image(image).launch
        known.withLock { known in
            if known.count >= 256 { known = [:] }
            known[image] = launch
        }
        return launch
    }
}
