// Embeds the texts of the arguments by both clients, and prints the vectors as JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany } from "ai";
import OpenAI from "openai";

const [baseURL, model, ...texts] = process.argv.slice(2);

const openai = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const byDefault = await openai.embeddings.create({ model, input: texts });
const asFloats = await openai.embeddings.create({ model, input: texts, encoding_format: "float" });

const provider = createOpenAICompatible({ name: "jlocal", baseURL });
const many = await embedMany({
  model: provider.embeddingModel(model),
  values: texts,
  maxRetries: 0,
});

const rows = (answer) => answer.data.map((item) => item.embedding);
console.log(
  JSON.stringify({ base64: rows(byDefault), floats: rows(asFloats), ai: many.embeddings }),
);
