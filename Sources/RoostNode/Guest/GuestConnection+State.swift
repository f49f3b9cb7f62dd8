import RoostGuestWire
import RoostModel

extension GuestConnection {
    /// Everything that a connection remembers. Decides under the lock; who is to be woken is
    /// handed out and resumed outside it.
    struct State {
        typealias Waiter = CheckedContinuation<Void, Never>

        /// One thing that came on a stream.
        enum Item {
            case message(Message)
            case data(DataChannel, [UInt8])
        }

        /// One open stream, or one that ended and was not read to its end.
        struct Stream {
            var items: [Item] = []
            var messages = 0
            var window: Int
            /// The guest said that nothing more comes.
            var isEnded = false
            /// The guest broke it off.
            var isReset = false
        }

        let vm: String
        var hello: Hello?
        var mux: Mux?
        var streams: [UInt32: Stream] = [:]
        var outbox: [UInt8]
        /// Nothing is written: what is sent is kept for later.
        var isSilent = false
        var kept: [UInt8] = []
        var failure: Fault?
        var waiters: [WaitKey: Waiter] = [:]
        /// Numbers that were sent, and those that came back.
        var pings: Set<UInt64> = []
        var pongs: Set<UInt64> = []
        var events: [Event] = []
        var lastTicket: UInt64 = 0

        init(vm: String, outbox: [UInt8]) {
            self.vm = vm
            self.outbox = outbox
        }

        /// Parks a waiter, or answers `true`: it is not parked and is to go on at once.
        mutating func park(_ waiter: Waiter, at key: WaitKey) -> Bool {
            if failure != nil || isDue(key) { return true }
            precondition(waiters[key] == nil, "two tasks wait for one thing")
            waiters[key] = waiter
            return false
        }

        /// What the waiter waits for may have come between its look and its parking.
        private func isDue(_ key: WaitKey) -> Bool {
            switch key {
            case .outbox: !outbox.isEmpty
            case .hello: hello != nil
            case .pong(let number): pongs.contains(number)
            case .input(let id):
                streams[id].map { !$0.items.isEmpty || $0.isEnded || $0.isReset } ?? true
            case .credit(let id): mux.map { !$0.isOpen(id) || credit(id) > 0 } ?? true
            }
        }

        /// The bytes of data that may be sent on a stream now. What would be kept waits at its sender, and
        /// so does what a slow guest has no room for: only what is short may still be put behind that.
        func credit(_ id: UInt32) -> Int {
            let mustWait = isSilent || outbox.count >= GuestConnection.outboxLimit / 2
            return mustWait ? 0 : mux?.sendCredit(id) ?? 0
        }

        /// Takes what waits to be written. Returns who may write again, too.
        mutating func takeOutbox() -> (bytes: [UInt8], writers: [Waiter]) {
            let wasFull = outbox.count >= GuestConnection.outboxLimit / 2
            let bytes = outbox
            outbox = []
            return (bytes, wasFull ? wakeWriters() : [])
        }

        private mutating func wakeWriters() -> [Waiter] {
            waiters.keys.filter { if case .credit = $0 { true } else { false } }.flatMap {
                wake($0)
            }
        }

        private mutating func wake(_ key: WaitKey) -> [Waiter] {
            waiters.removeValue(forKey: key).map { [$0] } ?? []
        }

        mutating func greeted(_ hello: Hello) throws(WireError) -> [Waiter] {
            guard self.hello == nil else { throw .unexpectedHello }
            guard hello.version == WireLimits.version else { throw .version(hello.version) }
            self.hello = hello
            if mux == nil { mux = Mux(side: .host, epoch: hello.epoch, peer: hello) }
            mux?.meet(hello)
            let waiting = waiters.keys.filter { if case .hello = $0 { true } else { false } }
            return waiting.flatMap { wake($0) }
        }

        mutating func receive(_ frame: Frame) throws(WireError) -> [Waiter] {
            guard let incoming = try mux?.receive(frame) else { return [] }
            switch incoming {
            case .message(let id, let message):
                guard streams[id] != nil else { return [] }
                streams[id]?.messages += 1
                guard streams[id, default: Stream(window: 0)].messages <= WireLimits.queuedMessages
                else { throw .tooManyMessages(id) }
                streams[id]?.items.append(.message(message))
                return wake(.input(id))
            case .data(let id, let channel, let bytes):
                // Empty data would cost memory without costing credit.
                guard !bytes.isEmpty else { throw .truncated }
                streams[id]?.append(channel, bytes)
                return wake(.input(id))
            case .credit(let id): return wake(.credit(id))
            case .closed(let id, let reset):
                streams[id]?.isEnded = true
                streams[id]?.isReset = reset
                return wake(.input(id)) + wake(.credit(id))
            case .pong(let number):
                // Only one that is waited for may take room.
                guard pings.contains(number) else { return [] }
                pongs.insert(number)
                return wake(.pong(number))
            case .event(let event):
                if events.count < 8 { events.append(event) }
                return []
            case .opened, .inputEnded, .ping, .goOn, .ignored: return []
            }
        }

        mutating func enqueue(_ bytes: [UInt8]) -> Waiter? {
            if isSilent {
                kept += bytes
                return nil
            }
            outbox += bytes
            return wake(.outbox).first
        }

        mutating func send(_ id: UInt32, _ body: Frame.Body) throws(Fault) -> Waiter? {
            if let failure { throw failure }
            guard let mux else { throw Fault(.guestUnreachable, "\(vm) has not answered yet") }
            guard outbox.count + kept.count < GuestConnection.outboxLimit else {
                throw Fault(.guestUnreachable, "\(vm) does not read its channel")
            }
            return enqueue(Frame(epoch: mux.epoch, stream: id, body: body).encoded())
        }

        /// Ends the silence: first of all the guest goes on. Returns who may write again.
        mutating func speak() -> [Waiter] {
            isSilent = false
            defer { kept = [] }
            let goOn = Frame(epoch: mux?.epoch ?? 0, stream: 0, body: .goOn)
            let writer = enqueue(goOn.encoded() + kept)
            return (writer.map { [$0] } ?? []) + wakeWriters()
        }

        /// Opens a stream for a request.
        mutating func open(_ request: Request) throws(Fault) -> (UInt32, Waiter?) {
            if let failure { throw failure }
            guard var table = mux else {
                throw Fault(.guestUnreachable, "\(vm) has not answered yet")
            }
            let used = streams.values.reduce(0) {
                $0 + max(0, $1.window - GuestConnection.smallestWindow)
            }
            let window =
                GuestConnection.smallestWindow
                + max(0, GuestConnection.windowBudget - used) / 2
            let body = Frame.Body.open(
                credit: UInt32(window),
                operation: OperationMark(OperationScope.current),
                request
            )
            let size = Frame(epoch: 0, stream: 0, body: body).payloadSize
            let limit = min(WireLimits.framePayload, Int(hello?.maxFrame ?? .max))
            guard size <= limit else {
                throw Fault(.limitExceeded, "a request of \(size) bytes to \(vm), over \(limit)")
            }
            let kept = request.isControl ? 0 : WireLimits.controlStreams
            guard streams.count < max(1, table.capacity - kept),
                let id = table.open(window: window)
            else {
                throw Fault(.limitExceeded, "\(vm) has \(streams.count) streams open already")
            }
            mux = table
            streams[id] = Stream(window: window)
            do throws(Fault) {
                return (id, try send(id, body))
            } catch {
                _ = mux?.reset(id)
                streams[id] = nil
                throw error
            }
        }

        mutating func fail(_ fault: Fault) -> [Waiter] {
            guard failure == nil else { return [] }
            failure = fault
            outbox = []
            kept = []
            // What has come already is still read: a guest's last answer before it powered off.
            defer { waiters = [:] }
            return Array(waiters.values)
        }
    }
}

extension GuestConnection.State.Stream {
    mutating func append(_ channel: DataChannel, _ bytes: [UInt8]) {
        // A guest that sends byte by byte must not cost an array for each.
        if case .data(channel, let last) = items.last, last.count < 4_096 {
            items.removeLast()
            items.append(.data(channel, last + bytes))
        } else {
            items.append(.data(channel, bytes))
        }
    }
}

extension OperationMark {
    /// The mark of `operation`; none for none.
    fileprivate init(_ operation: OperationID?) {
        let bits = operation?.bits ?? 0
        self.init(
            low: UInt64(truncatingIfNeeded: bits),
            high: UInt64(truncatingIfNeeded: bits >> 64)
        )
    }
}
