// Creates the record that stands in the file of the second argument, and prints the one that comes back.
// Usage: node roundtrip.mjs PROTOS RECORD TARGET

import { readFileSync } from "node:fs";
import { connect } from "./connect.mjs";

const [protos, record, target] = process.argv.slice(2);
const tasks = connect({
  target,
  token: "t",
  protos,
  file: "objectql/app/v1/task.proto",
  name: "objectql.app.v1.TaskService",
});
const made = await tasks.call("CreateTask", { task: JSON.parse(readFileSync(record, "utf-8")) });
console.log(JSON.stringify(made));
tasks.close();
