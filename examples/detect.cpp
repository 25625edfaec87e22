// Detect in an image with an exported file in ONNX Runtime for C++.
//
//   python main.py --phase export --weights model.pth --output whole_rgb.onnx --input uint8 --color RGB --nms graph
//   g++ -std=c++17 -O2 -I ORT/include detect.cpp -L ORT/lib -lonnxruntime -o detect
//   LD_LIBRARY_PATH=ORT/lib ./detect whole_rgb.onnx image.ppm [threshold]
//
// ORT is an unpacked release of https://github.com/microsoft/onnxruntime. The image is a binary PPM,
// which needs no library to be read. The file scales the image and suppresses duplicates by itself,
// so that nothing is left to be done here.

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

Image read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int largest = 0;
  Image image;
  file >> kind >> image.width >> image.height >> largest;
  if (!file || kind != "P6" || largest != 255 || image.width < 1 || image.height < 1) {
    throw std::runtime_error(path + ": not a binary PPM of 8 bits");
  }
  file.get();
  image.rgb.resize(image.width * image.height * 3);
  if (!file.read(reinterpret_cast<char*>(image.rgb.data()), image.rgb.size())) {
    throw std::runtime_error(path + ": cut off");
  }
  return image;
}

/** An entry of the metadata in the file, which are text. */
std::string entry(const Ort::ModelMetadata& metadata, const char* key) {
  Ort::AllocatorWithDefaultOptions allocator;
  auto text = metadata.LookupCustomMetadataMapAllocated(key, allocator);
  if (!text) throw std::runtime_error(std::string("the metadata lack ") + key);
  return text.get();
}

int run(int count, char** words) {
  if (count < 3) throw std::runtime_error("expected: detect MODEL IMAGE [THRESHOLD]");
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "detect");
#ifdef _WIN32
  const std::string name(words[1]);
  Ort::Session session(environment, std::wstring(name.begin(), name.end()).c_str(), {});
#else
  Ort::Session session(environment, words[1], Ort::SessionOptions());
#endif
  const Ort::ModelMetadata metadata = session.GetModelMetadata();
  if (entry(metadata, "input_type") != "uint8" || entry(metadata, "color") != "RGB" ||
      entry(metadata, "nms_thresh").empty()) {
    throw std::runtime_error("export the model with --input uint8 --color RGB --nms graph");
  }
  const float threshold = std::stof(count > 3 ? words[3] : entry(metadata, "conf_thresh"));
  std::cout << "classes " << entry(metadata, "classes") << "\n";  // a JSON list

  Image image = read_ppm(words[2]);
  const std::vector<int64_t> shape{1, image.height, image.width, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const Ort::Value input = Ort::Value::CreateTensor<uint8_t>(
      memory, image.rgb.data(), image.rgb.size(), shape.data(), shape.size());
  const char* inputs[] = {"input"};
  const char* outputs[] = {"corners", "scores", "labels"};
  const auto found = session.Run({}, inputs, &input, 1, outputs, 3);

  const auto rows = found[1].GetTensorTypeAndShapeInfo().GetShape()[1];
  const float* corners = found[0].GetTensorData<float>();
  const float* scores = found[1].GetTensorData<float>();
  const int64_t* labels = found[2].GetTensorData<int64_t>();
  for (int64_t row = 0; row < rows && scores[row] > threshold; ++row) {
    std::cout << labels[row] << " " << scores[row];
    for (int64_t k = 8 * row; k < 8 * row + 8; ++k) std::cout << " " << corners[k];
    std::cout << "\n";
  }
  return 0;
}

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
