// Starts aimock, submits a video to each of its APIs, prints the tasks as one line of JSON, and makes some answers fail from then on.
import { createRequire } from "node:module";
const { LLMock } = createRequire(process.argv[2])("@copilotkit/aimock");

const steps = { pollsBeforeInProgress: 1, pollsBeforeCompleted: 3 };
const mock = new LLMock({
  port: 0, logLevel: "silent",
  falQueue: steps, openRouterVideo: steps, veoVideo: steps, grokVideo: steps, bytePlusVideo: steps,
});
const refusal = "The prompt was refused by the content policy";
const video = (prompt, response) =>
  mock.addFixture({ match: { userMessage: prompt, endpoint: "video" }, response: { video: response } });
video("sunrise", { id: "video-sunrise", status: "completed", url: "https://media.example.com/v.mp4", duration: 6 });
video("refused", { id: "video-refused", status: "failed", error: refusal });
const ark = { model: "seedance-1-0-pro", created_at: 1795132800, updated_at: 1795132860 };
const envelope = (prompt, body) =>
  mock.addFixture({ match: { userMessage: prompt, endpoint: "video" }, response: { json: { ...ark, ...body } } });
envelope("ark-good", {
  status: "succeeded", content: { video_url: "https://media.example.com/v.mp4" }, duration: 5, resolution: "720p",
  usage: { completion_tokens: 10, total_tokens: 10 },
});
envelope("ark-bad", {
  status: "failed", error: { code: "OutputVideoSensitiveContentDetected", message: "The output may be sensitive." },
});
mock.addFixture({ match: { userMessage: "sunrise", endpoint: "fal" }, response: { json: { video: { url: "https://v3.fal.media/x.mp4" } } } });

const url = await mock.start();
const tasks = [];
async function submit(provider, path, body, status, id, headers = {}) {
  const response = await fetch(url + path, {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", authorization: "Bearer k", "x-goog-api-key": "k", ...headers },
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${provider}: ${response.status} ${JSON.stringify(answer)}`);
  tasks.push({ provider, id: id(answer), status });
}
for (const [prompt, status] of [["sunrise", "succeeded"], ["refused", "failed"]]) {
  await submit("openai_videos", "/v1/videos", { model: "sora-2", prompt }, status, (a) => a.id);
  await submit("openrouter", "/api/v1/videos", { model: "openai/sora-2", prompt }, status, (a) => a.id);
  await submit("xai", "/v1/videos/generations", { model: "grok-imagine-video", prompt }, status, (a) => a.request_id);
  await submit("veo", "/v1beta/models/veo-3.1:predictLongRunning", { instances: [{ prompt }] }, status, (a) => a.name);
}
for (const [prompt, status] of [["ark-good", "succeeded"], ["ark-bad", "failed"]]) {
  const content = [{ type: "text", text: prompt }];
  await submit("ark", "/api/v3/contents/generations/tasks", { model: "seedance-1-0-pro", content }, status, (a) => a.id);
}
const fal = { "x-fal-target-host": "queue.fal.run" };
await submit("fal", "/fal/owner/app", { prompt: "sunrise" }, "succeeded", (a) => `owner/app/requests/${a.request_id}`, fal);
mock.setChaos({ dropRate: 0.15, malformedRate: 0.15, rateLimitRate: 0.1, disconnectRate: 0.1 });
console.log(JSON.stringify({ url, tasks }));
