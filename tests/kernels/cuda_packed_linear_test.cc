// Packed weights on the CUDA backend, beside the CPU's: the same values, added in another order.
#include <cmath>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/uploading_backend.h"

namespace octet::kernels {
namespace {

struct Shape {
  int64_t rows;
  int64_t columns;
  int64_t depth;
};

class CudaPackedLinearTest : public ::testing::Test {
 protected:
  CudaPackedLinearTest() {
    cuda_emulator::reset(1);
    make_cuda();
    cpu_ = make_backend(cpu_cases().front());
  }

  static std::vector<float> multiply(Backend& backend, WeightFormat format, std::vector<float>& input,
                                     Tensor weight, Tensor scales, const Shape& shape, Epilogue epilogue) {
    const std::optional<PackedWeight> packed = backend.pack(format, weight, scales);
    EXPECT_TRUE(packed.has_value());
    std::vector<float> output(static_cast<size_t>(shape.rows * shape.columns), NAN);
    backend.linear(matrix(output, shape.rows, shape.columns), matrix(input, shape.rows, shape.depth), *packed,
                   epilogue);
    return output;
  }

  void expect_what_the_cpu_gives(WeightFormat format, Tensor weight, Tensor scales, const Shape& shape) {
    SCOPED_TRACE(::testing::Message()
                 << name_of(format) << " " << shape.rows << " x " << shape.columns << " x " << shape.depth);
    std::vector<float> input = random_.vector(shape.rows * shape.depth);
    for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kSquaredRelu}) {
      const std::vector<float> expected = multiply(*cpu_, format, input, weight, scales, shape, epilogue);
      const std::vector<float> output = multiply(*cuda_, format, input, weight, scales, shape, epilogue);
      for (size_t i = 0; i < output.size(); ++i) {
        // Products of numbers up to 1, of which fp32 loses 2^-24 at every addition.
        const auto bound = static_cast<float>(shape.depth) * 1e-6f;
        ASSERT_NEAR(output[i], expected[i], bound * (1 + 2 * std::abs(expected[i]))) << "element " << i;
      }
    }
  }

  void use_compute_capability(int capability) {
    end_cuda();
    cuda_emulator::set_compute_capability(capability);
    make_cuda();
  }

  Random& random() { return random_; }
  Backend& cuda() { return *cuda_; }
  void end_cuda() { cuda_.reset(); }

 private:
  void make_cuda() { cuda_ = make_uploading_backend(std::move(make_cuda_ranks({0}).front())); }

  Random random_{20240614};
  std::unique_ptr<Backend> cuda_;
  std::unique_ptr<Backend> cpu_;
};

TEST_F(CudaPackedLinearTest, RoundsToBfloat16AsTheCpuDoes) {
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{1, 130, 96}, Shape{5, 33, 130}, Shape{17, 16, 64}}) {
      Weight weight(type, shape.columns, shape.depth, 3, random());
      expect_what_the_cpu_gives(WeightFormat::kBFloat16, weight.matrix(), {}, shape);
    }
  }
}

// As before sm_89, where fp8 is multiplied as bf16; what is multiplied as fp8 is in cuda_float8_test.
TEST_F(CudaPackedLinearTest, ScalesTheColumnsOfFloat8) {
  use_compute_capability(80);
  const Shape shape = {3, 16, 16};
  std::vector<uint8_t> codes;  // every number of E4M3
  for (int code = 0; code < 256; ++code) {
    codes.push_back((code & 0x7f) == 0x7f ? uint8_t{0} : static_cast<uint8_t>(code));
  }
  const Tensor weight(codes.data(), DType::kFloat8E4M3, {shape.columns, shape.depth});
  std::vector<float> one = {1.0f / 448};
  std::vector<float> each(16);
  for (size_t n = 0; n < each.size(); ++n) each[n] = 1.0f / (448.0f + static_cast<float>(n));
  for (std::vector<float>* scales : {&one, &each}) {
    const Tensor scale(scales->data(), DType::kFloat32, {static_cast<int64_t>(scales->size())});
    expect_what_the_cpu_gives(WeightFormat::kFloat8, weight, scale, shape);
    expect_what_the_cpu_gives(WeightFormat::kBFloat16, weight, scale, shape);
  }
}

TEST_F(CudaPackedLinearTest, KeepsNotANumberVisible) {
  std::vector<float> input = {NAN, 1};
  Weight weight(DType::kBFloat16, 2, 2, 0, random());
  const std::vector<float> output = multiply(cuda(), WeightFormat::kBFloat16, input, weight.matrix(), {},
                                             {1, 2, 2}, Epilogue::kSquaredRelu);
  for (const float x : output) EXPECT_TRUE(std::isnan(x));
}

TEST_F(CudaPackedLinearTest, SaysThatThereIsNoMemory) {
  end_cuda();  // its memory goes with the devices
  cuda_emulator::reset(1, 1 << 20);
  const auto rank = std::move(make_cuda_ranks({0}).front());
  std::vector<float> values(size_t{1} << 20);
  EXPECT_FALSE(rank->pack(WeightFormat::kBFloat16, matrix(values, 1024, 1024)).has_value());
}

}  // namespace
}  // namespace octet::kernels
