import "./style.css";
import "./source.css";
import "./mixer.css";
import { App } from "./app";
import { register } from "./offline";

void register();
new App();
