/// A plain HTTP request that is no call: /metrics, /healthz, a web page.
package struct WebRequest: Sendable {
    /// `GET`, `HEAD`, `POST`, ….
    package let method: String
    /// Path and query as they came, such as `/metrics?x=1`.
    package let target: String
    /// Header names in lowercase, in the order they came.
    package let headers: [(name: String, value: String)]
    /// As ``ServerContext/remotePeer`` says it.
    package let remotePeer: String

    /// The target without its query.
    package var path: String {
        String(target.prefix { $0 != "?" })
    }
}

/// The answer to a plain HTTP request.
package struct WebResponse: Sendable {
    /// Such as 200.
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]

    package init(
        status: Int = 200,
        headers: [(name: String, value: String)] = [],
        body: [UInt8] = []
    ) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A page of text.
    package init(
        status: Int = 200,
        text: String,
        contentType: String = "text/plain; charset=utf-8"
    ) {
        self.init(
            status: status,
            headers: [("content-type", contentType)],
            body: Array(text.utf8)
        )
    }
}

/// Answers plain HTTP requests; `nil` means that there is no such page.
package typealias WebRoutes = @Sendable (WebRequest) async -> WebResponse?
