import RoostHost
import RoostLink
import RoostModel
import Testing

@testable import RoostNode

@Suite struct ImageLaunchTests {
    private let launch = ImageLaunch(
        entrypoint: ["/entry", "-v"],
        command: ["serve"],
        environment: ["A=image", "B=image"],
        workingDirectory: "/srv",
        user: "app"
    )

    private func request(_ arguments: [String], isImageCommand: Bool = false) throws -> ExecRequest
    {
        let id = try #require(OperationID("op-" + String(repeating: "0", count: 26)))
        var request = ExecRequest(session: id, arguments: arguments)
        request.isImageCommand = isImageCommand
        return request
    }

    @Test(arguments: [
        ([String](), true, ["/entry", "-v", "serve"]),
        (["x", "y"], true, ["/entry", "-v", "x", "y"]),
        (["x", "y"], false, ["x", "y"]),
    ])
    func theEntrypointStaysAndTheCommandIsReplaced(
        arguments: [String],
        isImageCommand: Bool,
        wanted: [String]
    ) throws {
        let request = try request(arguments, isImageCommand: isImageCommand)
        #expect(try launch.applied(to: request).arguments == wanted)
    }

    @Test func theRequestStandsOverTheImage() throws {
        var asked = try request(["x"])
        let plain = try launch.applied(to: asked)
        #expect(plain.workingDirectory == "/srv" && plain.user == "app")
        asked.environment = ["B=request"]
        asked.workingDirectory = "/"
        asked.user = "root"
        let own = try launch.applied(to: asked)
        #expect(own.workingDirectory == "/" && own.user == "root")
        // The agent takes the last of a name.
        #expect(own.environment == ["A=image", "B=image", "B=request"])
    }

    @Test func withNothingToRunTheFallbackRunsOrItIsRefused() throws {
        var asked = try request([], isImageCommand: true)
        #expect(throws: Fault.self) { try ImageLaunch().applied(to: asked) }
        asked.fallback = ["/bin/sh"]
        #expect(try ImageLaunch().applied(to: asked).arguments == ["/bin/sh"])
        #expect(try launch.applied(to: asked).arguments == ["/entry", "-v", "serve"])
    }
}
