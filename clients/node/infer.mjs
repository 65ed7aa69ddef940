// Runs a model of FP32 tensors from Node, once or as a stream, and prints each answer as a line of JSON.
//   node infer.mjs ADDRESS unary|stream MODEL INPUT WIDTH COUNT [DEADLINE_MS]
// The n-th request holds WIDTH times the number n.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTOS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../protos');
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

const definition = protoLoader.loadSync('cuelight/inference/v2/open_inference.proto', {
  includeDirs: [PROTOS],
  keepCase: true,
  longs: Number,
});
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;

/** Return a ModelInferRequest of one row: `width` times `value`. */
function request(model, input, width, value) {
  return {
    model_name: model,
    id: String(value),
    inputs: [{ name: input, datatype: 'FP32', shape: [1, width] }],
    raw_input_contents: [Buffer.from(new Float32Array(width).fill(value).buffer)],
  };
}

/** Return the first output's values. The bytes are copied: a Float32Array needs them aligned. */
function values(response) {
  return Array.from(new Float32Array(new Uint8Array(response.raw_output_contents[0]).buffer));
}

const print = (answer) => console.log(JSON.stringify(answer));
const failure = (error) => ({ code: grpc.status[error.code], details: error.details });

const [address, kind, model, input, width, count, deadlineMs] = process.argv.slice(2);
const client = new GRPCInferenceService(address, grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
});
const options = deadlineMs ? { deadline: Date.now() + Number(deadlineMs) } : {};

if (kind === 'unary') {
  for (let value = 0; value < Number(count); value++) {
    await new Promise((done) => {
      client.ModelInfer(request(model, input, Number(width), value), options, (error, response) => {
        print(error ? failure(error) : { id: response.id, values: values(response) });
        done();
      });
    });
  }
} else {
  await new Promise((done) => {
    const call = client.ModelStreamInfer(options);
    call.on('data', (answer) => {
      print(answer.error_message
        ? { id: answer.infer_response.id, error: answer.error_message }
        : { id: answer.infer_response.id, values: values(answer.infer_response) });
    });
    call.on('error', (error) => { print(failure(error)); done(); });
    call.on('end', done);
    for (let value = 0; value < Number(count); value++) call.write(request(model, input, Number(width), value));
    call.end();
  });
}
client.close();
