"""A client that checks every token of every answer while processes come and go."""
import concurrent.futures
import dataclasses
import itertools
import random
import threading
import time

import grpc

from end_to_end.clients import generate_request
from testing.simulated_tokens import simulated_answer

# What a client may ask again elsewhere: nothing was promised, or the router itself is gone.
MAY_BE_ASKED_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
DEADLINE_SECONDS = 60


@dataclasses.dataclass
class Tally:
    """What came of the requests. right + changed + lost is the number sent."""
    right: int = 0
    changed: int = 0  # another token than the oracle's, one too many or too few
    lost: int = 0     # ended with an error
    asked_again: int = 0  # times that a client turned to the next router
    errors: list = dataclasses.field(default_factory=list)  # the first few, as text

    @property
    def sent(self):
        return self.right + self.changed + self.lost


@dataclasses.dataclass
class Stream:
    """When one answer was asked for and its messages came, by time.time()."""
    began: float
    times: list

    def longest_gap(self, first, last):
        """In seconds, of the times without a token that ended after `first` and began before `last`; 0 when there is none."""
        gaps = itertools.pairwise([self.began, *self.times])
        return max((late - early for early, late in gaps if late > first and early < last), default=0)


class Load:
    """Asks for `number` answers over `clients` streams at a time, spread over the routers; a context manager."""

    def __init__(self, targets, vocabulary, number, clients, max_tokens=64, may_ask_again=False):
        self.vocab_size, self.eos = vocabulary
        self.number, self.clients, self.max_tokens, self.may_ask_again = number, clients, max_tokens, may_ask_again
        self.channels = [grpc.insecure_channel(target, options=[
            ("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)])
            for target in targets]
        self.tally = Tally()
        self.streams = []
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=clients)
        self.futures = []

    def __enter__(self):
        self.futures = [self.pool.submit(self.ask, i) for i in range(self.number)]
        return self

    def __exit__(self, *error):
        if any(error):
            for future in self.futures:
                future.cancel()
        self.pool.shutdown()
        for channel in self.channels:
            channel.close()
        if not any(error):
            for future in self.futures:
                future.result()  # a bug of the client itself

    def num_done(self):
        with self.lock:
            return self.tally.sent

    def is_done(self):
        return self.num_done() == self.number

    def prompt(self, number):
        draw = random.Random(number)
        return [draw.randrange(300, self.vocab_size) for _ in range(draw.randrange(1, 300))]

    def ask(self, number):
        from octet.v1 import generation_pb2 as pb
        from octet.v1 import generation_pb2_grpc
        prompt = self.prompt(number)
        request = generate_request(token_ids=pb.TokenIds(ids=prompt), sampling=pb.SamplingParams(seed=number),
                                   stop=pb.StopConditions(max_tokens=self.max_tokens))
        stream = Stream(time.time(), [])
        deadline = stream.began + DEADLINE_SECONDS
        for attempt in itertools.count():
            stub = generation_pb2_grpc.GenerationStub(self.channels[(number + attempt) % len(self.channels)])
            tokens = []
            try:
                for message in stub.Generate(request, timeout=max(deadline - time.time(), 0.001)):
                    tokens += message.token_ids
                    stream.times.append(time.time())
                break
            except grpc.RpcError as error:
                if self.may_ask_again and error.code() in MAY_BE_ASKED_AGAIN and time.time() < deadline:
                    with self.lock:
                        self.tally.asked_again += 1
                    if attempt % len(self.channels):
                        time.sleep(0.05)  # nobody was there: as Retry-After says, only sooner
                    continue
                with self.lock:
                    self.tally.lost += 1
                    self.tally.errors = [*self.tally.errors, f"{number}: {error.code()} {error.details()}"][:10]
                return
        right = tokens == simulated_answer(prompt, self.max_tokens, self.vocab_size, self.eos)
        with self.lock:
            self.streams.append(stream)
            if right:
                self.tally.right += 1
            else:
                self.tally.changed += 1
                self.tally.errors = [*self.tally.errors, f"{number}: other tokens"][:10]

    def longest_gap(self, first, last):
        """Of all streams, in seconds."""
        return max((stream.longest_gap(first, last) for stream in self.streams), default=0)
