// The part of NCCL that Octet uses: collectives between the emulated devices of one process, send and receive
// between two of any. Names, values and meanings are NCCL's; the order of a sum depends on the place in the
// data, as a ring's.
#pragma once

#include <cuda_runtime.h>

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
};
enum ncclDataType_t { ncclInt32 = 2, ncclFloat32 = 7 };
enum ncclRedOp_t { ncclSum = 0 };
typedef struct ncclComm* ncclComm_t;

const char* ncclGetErrorString(ncclResult_t result);

struct ncclUniqueId {
  char internal[128];
};
struct ncclConfig_t {
  int blocking;
};
#define NCCL_CONFIG_INITIALIZER \
  { 1 }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
// On the current device. Only where config.blocking is 0: in progress until every rank has joined. Between
// ncclGroupStart() and ncclGroupEnd(): ranks that are all of this process, and have collectives. Else one of
// two ranks, of this process or two, which have ncclSend() and ncclRecv().
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state);
const char* ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
// Ends what is under way as well.
ncclResult_t ncclCommAbort(ncclComm_t comm);

// Put on the stream; done when the streams of all ranks have come to it. A group whose ranks do not all come
// within a minute, or come with different sizes, is a fault of its device. ncclInProgress: while not every
// rank has joined.
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream);
// to: [num_ranks * count]
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream);

// Put on the stream. Neither is done before the other rank's stream has come to its counterpart; other sizes
// there are a fault. ncclRemoteError is the communicator's state once the other rank turns out to be gone:
// what waits for it then goes on doing so, until ncclCommAbort().
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int to_rank, ncclComm_t comm,
                      cudaStream_t stream);
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int from_rank, ncclComm_t comm,
                      cudaStream_t stream);
