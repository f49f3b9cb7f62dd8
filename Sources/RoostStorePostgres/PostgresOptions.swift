/// How a ``PostgresStore`` uses its server.
package struct PostgresOptions: Sendable {
    /// Connections that read, each with a thread: at least 1. One more commits, and one more waits for
    /// notifications once somebody asks for them.
    package var readers: Int
    /// The most commits that share one transaction: at least 1.
    package var groupLimit: Int
    /// How long the server may work on one statement.
    package var statementTime: Duration
    /// How long an answer may be under way before the connection is given up.
    package var answerTime: Duration
    /// How long a read waits for a server that is away.
    package var readPatience: Duration
    /// How long a commit waits for a server that is away, or for the news of what became of it.
    package var commitPatience: Duration
    /// How long opening waits for a server that is away.
    package var openPatience: Duration
    /// How often a wait for changes looks, whatever notifications say.
    package var pollInterval: Duration

    package init(
        readers: Int = 4,
        groupLimit: Int = 256,
        statementTime: Duration = .seconds(5),
        answerTime: Duration = .seconds(10),
        readPatience: Duration = .seconds(10),
        commitPatience: Duration = .seconds(30),
        openPatience: Duration = .seconds(10),
        pollInterval: Duration = .milliseconds(250)
    ) {
        self.readers = max(1, readers)
        self.groupLimit = max(1, groupLimit)
        self.statementTime = statementTime
        self.answerTime = answerTime
        self.readPatience = readPatience
        self.commitPatience = commitPatience
        self.openPatience = openPatience
        self.pollInterval = pollInterval
    }
}
