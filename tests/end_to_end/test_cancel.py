"""A client that goes away frees what its request held, at once, and disturbs nobody."""
import concurrent.futures
import random
import socket

import grpc

from end_to_end.clients import generate_request, grpc_generate, text_of

ENDLESS = 3000  # tokens; takes far longer than any wait in here


def endless_stream(channel, **more):
    from octet.v1 import generation_pb2 as pb
    from octet.v1 import generation_pb2_grpc
    request = generate_request(text="Count: 1 2 3", sampling=pb.SamplingParams(temperature=1, seed=7),
                               stop=pb.StopConditions(max_tokens=ENDLESS, ignore_eos=True), **more)
    return generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=120)


def ended(deployment, reason):
    return deployment.lead_metric(f'octet_sequences_ended_total{{reason="{reason}"}}')


def test_cancelled_grpc_call_frees_its_blocks(deployment, channel):
    before = ended(deployment, "cancelled")
    stream = endless_stream(channel)
    for _ in range(3):
        next(stream)
    assert deployment.lead_metric("octet_kv_cache_usage_ratio") > 0
    stream.cancel()
    deployment.wait_until_blocks_are_free()
    assert ended(deployment, "cancelled") == before + 1


def test_closed_http_connection_frees_its_blocks(deployment):
    before = ended(deployment, "cancelled")
    port = deployment.router.ports()["http_port"]
    body = (f'{{"prompt": "Count: 1 2 3", "max_tokens": {ENDLESS}, "temperature": 1, "seed": 7, "stream": true,'
            ' "ignore_eos": true}').encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        received = b""
        while received.count(b"data: ") < 3:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    deployment.wait_until_blocks_are_free()
    assert ended(deployment, "cancelled") == before + 1


def test_passed_deadline_frees_its_blocks(deployment, channel):
    from octet.v1 import generation_pb2_grpc
    try:
        for _ in endless_stream(channel):
            break
        request = generate_request(text="Count:", stop=None, n=4)
        list(generation_pb2_grpc.GenerationStub(channel).Generate(request, timeout=0.05))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    deployment.wait_until_blocks_are_free()


def test_choices_of_a_cancelled_request_all_end(deployment, channel):
    stream = endless_stream(channel, n=16)
    next(stream)
    stream.cancel()
    deployment.wait_until_blocks_are_free()


def test_random_starts_and_cancels_leave_all_blocks_free(deployment, channel, golden):
    choice = random.Random(11)

    def go_away_or_stay(plan):
        case, num_messages = plan
        if num_messages is None:
            return grpc_generate(channel, generate_request(case))[0].text == text_of(case)
        stream = endless_stream(channel)
        for _ in range(num_messages):
            next(stream)
        stream.cancel()
        return True

    plans = [(choice.choice(golden), choice.choice([None, 0, 0, 1, 2, 5, 20])) for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        right = list(pool.map(go_away_or_stay, plans))
    assert all(right)
    deployment.wait_until_blocks_are_free()
