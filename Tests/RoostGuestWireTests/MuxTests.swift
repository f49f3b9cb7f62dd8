import RoostGuestWire
import Testing

private let hello = Hello(side: .guest, nonce: 5)

private func pair() -> (host: Mux, guest: Mux) {
    (Mux(side: .host, epoch: 5, peer: hello), Mux(side: .guest, epoch: 5, peer: hello))
}

private func frame(_ stream: UInt32, _ body: Frame.Body, epoch: UInt32 = 5) -> Frame {
    Frame(epoch: epoch, stream: stream, body: body)
}

private func open(_ host: inout Mux) throws -> UInt32 {
    let id = host.open(window: 100)
    return try #require(id)
}

@Suite("Mux")
struct MuxTests {
    @Test func aGuestSendsNoMoreThanWasGranted() throws {
        var (host, guest) = pair()
        let id = try open(&host)
        _ = try guest.receive(frame(id, .open(credit: 100, .stats)))
        #expect(guest.sendCredit(id) == 100)
        guest.sent(100, on: id)
        #expect(guest.sendCredit(id) == 0)
        let bytes = [UInt8](repeating: 0, count: 100)
        #expect(try host.receive(frame(id, .data(.stdout, bytes))) == .data(id, .stdout, bytes))
        #expect(throws: WireError.creditExceeded(id)) {
            try host.receive(frame(id, .data(.stdout, [1])))
        }
        let outcome1 = host.consumed(49, on: id)
        #expect(outcome1 == nil)
        let outcome2 = host.consumed(1, on: id)
        #expect(outcome2 == 50)
        _ = try guest.receive(frame(id, .credit(50)))
        #expect(guest.sendCredit(id) == 50)
    }

    @Test func theGuestsEndClosesAndTheHostsEndDoesNot() throws {
        var (host, guest) = pair()
        let id = try open(&host)
        _ = try guest.receive(frame(id, .open(credit: 100, .stats)))
        let outcome3 = host.end(id)
        #expect(outcome3)
        let outcome4 = host.end(id)
        #expect(!outcome4)
        #expect(host.isOpen(id))
        #expect(try guest.receive(frame(id, .end)) == .inputEnded(id))
        #expect(throws: WireError.afterEnd(id)) { try guest.receive(frame(id, .data(.main, [1]))) }
        #expect(try guest.receive(frame(id, .message(.signal(2)))) == .message(id, .signal(2)))
        let outcome5 = guest.end(id)
        #expect(outcome5)
        #expect(!guest.isOpen(id))
        #expect(try host.receive(frame(id, .end)) == .closed(id, reset: false))
        #expect(!host.isOpen(id))
    }

    @Test func whatCrossesWithACloseIsIgnoredAndWhatWasNeverOpenedIsRefused() throws {
        var (host, _) = pair()
        let id = try open(&host)
        let outcome6 = host.reset(id)
        #expect(outcome6)
        let outcome7 = host.reset(id)
        #expect(!outcome7)
        #expect(try host.receive(frame(id, .data(.stdout, [1]))) == .ignored)
        #expect(try host.receive(frame(id, .end)) == .ignored)
        #expect(throws: WireError.unknownStream(2)) { try host.receive(frame(2, .end)) }
        #expect(try host.receive(frame(2, .end, epoch: 4)) == .ignored)
    }

    @Test(arguments: [
        Frame.Body.open(credit: 1, .stats), .ping(1), .message(.signal(9)), .goOn,
    ])
    func aHostRefusesWhatOnlyHostsSay(body: Frame.Body) throws {
        var (host, _) = pair()
        _ = host.open(window: 100)
        #expect(throws: WireError.self) { try host.receive(frame(1, body)) }
    }

    @Test func aGuestIsToldToGoOnByTheConnectionAndNoStreamOfIt() throws {
        var (_, guest) = pair()
        let told = try guest.receive(frame(0, .goOn))
        #expect(told == .goOn)
        #expect(throws: WireError.self) { try guest.receive(frame(1, .goOn)) }
    }

    @Test(arguments: [Frame.Body.pong(1), .event(.ready), .message(.done(bytes: 1))])
    func aGuestRefusesWhatOnlyGuestsSay(body: Frame.Body) throws {
        var (_, guest) = pair()
        _ = try guest.receive(frame(1, .open(credit: 1, .stats)))
        #expect(throws: WireError.self) { try guest.receive(frame(1, body)) }
    }

    @Test func streamIdsOnlyRiseAndTheirNumberIsBounded() throws {
        var (host, guest) = pair()
        for number in 1...UInt32(WireLimits.streams) {
            let outcome8 = host.open(window: 1)
            #expect(outcome8 == number)
            _ = try guest.receive(frame(number, .open(credit: 1, .stats)))
        }
        let outcome9 = host.open(window: 1)
        #expect(outcome9 == nil)
        #expect(throws: WireError.streamReused(3)) {
            try guest.receive(frame(3, .open(credit: 1, .stats)))
        }
        #expect(throws: WireError.tooManyStreams) {
            try guest.receive(frame(65, .open(credit: 1, .stats)))
        }
    }

    @Test func creditsThatAddUpToNonsenseAreRefused() throws {
        var (host, _) = pair()
        let id = try open(&host)
        #expect(throws: WireError.self) {
            for _ in 0..<3 { _ = try host.receive(frame(id, .credit(1 << 23))) }
        }
    }
}
