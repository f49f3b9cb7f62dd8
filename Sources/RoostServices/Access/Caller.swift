package import RoostModel

/// Who is asking, as the listener found out, and what that may do. Set by ``Gate``.
package struct Caller: Sendable, Hashable {
    /// `uid:1000` on a Unix socket, `token:` and its id over TCP, `dev` on an open loopback port.
    package var principal: String
    /// `nil`: nobody who may call anything but what is for anybody.
    package var role: Role?
    /// The project that the caller is confined to; `nil`: none.
    package var project: String?

    package init(principal: String, role: Role?, project: String? = nil) {
        self.principal = principal
        self.role = role
        self.project = project
    }

    /// Nobody, before it is known who asks.
    package static let unknown = Caller(principal: "unknown", role: nil)

    /// The caller of the call that this task serves.
    @TaskLocal package static var current = Caller.unknown

    /// The projects that there are for the caller.
    package var view: ProjectView {
        ProjectView(project ?? "default", isConfined: project != nil)
    }
}
